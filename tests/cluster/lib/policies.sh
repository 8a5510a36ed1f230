# Enforcement of NetworkPolicies: one table of the machine's packet filter, kept true by an agent.
# shellcheck shell=bash disable=SC2154

POLICIES=$RUN/policies.sock

start_policies() {
    runs policies >/dev/null || rm -f "$POLICIES"
    start policies "$BIN/policies" --kubeconfig "$ADMIN" --socket "$POLICIES"
    # It listens once the rules stand.
    wait_for 30 "the rules of network policies" test -S "$POLICIES"
}

# Rules outlive the agent, as they do where a real one is restarted.
remove_policies() { ! nft list table inet ckrv-policies >/dev/null 2>&1 || nft delete table inet ckrv-policies; }
