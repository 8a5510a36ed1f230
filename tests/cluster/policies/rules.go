package main

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// The table that is ours alone: replaced as a whole, in one transaction, and removed as a whole.
const table = "ckrv-policies"

// What the rules follow from.
type view struct {
	pods       []pod
	namespaces map[string]labels.Set
	policies   []*networking.NetworkPolicy
}

type pod struct {
	namespace string
	labels    labels.Set
	address   string
	ports     []core.ContainerPort
}

// A policy's two directions: which end of a connection the selected pods are, and which one the peers.
type direction struct {
	kind      networking.PolicyType
	near, far string
}

var (
	outward = direction{networking.PolicyTypeEgress, "saddr", "daddr"}
	inward  = direction{networking.PolicyTypeIngress, "daddr", "saddr"}
)

// render gives the table as nft reads it. The same view gives the same text.
func (v *view) render() string {
	slices.SortFunc(v.policies, func(a, b *networking.NetworkPolicy) int {
		return strings.Compare(title(a), title(b))
	})
	var text strings.Builder
	fmt.Fprintf(&text, "add table inet %[1]s\ndelete table inet %[1]s\ntable inet %[1]s {\n", table)
	var forward, input []string
	for _, way := range []direction{outward, inward} {
		isolated, lines := v.allowed(way)
		if len(isolated) == 0 {
			continue
		}
		name := strings.ToLower(string(way.kind))
		fmt.Fprintf(&text, "  chain %s {\n    %s\n", name, strings.Join(append(lines, "counter drop"), "\n    "))
		text.WriteString("  }\n")
		jump := fmt.Sprintf("ip %s %s jump %s", way.near, set(isolated), name)
		forward = append(forward, jump)
		// What a pod sends to the node itself is not forwarded. What the node sends to its pods is always let through.
		if way == outward {
			input = append(input, jump)
		}
	}
	// Before kube-proxy's own filter, and after it has put a pod's address in place of a service's.
	hook(&text, "forward", forward)
	hook(&text, "input", input)
	text.WriteString("}\n")
	return text.String()
}

func hook(text *strings.Builder, name string, lines []string) {
	lines = append([]string{"ct state established,related accept"}, lines...)
	fmt.Fprintf(text, "  chain %s {\n    type filter hook %s priority filter - 10; policy accept;\n    %s\n  }\n",
		name, name, strings.Join(lines, "\n    "))
}

// allowed gives the pods that any policy selects in this direction, and what policies let through: with `return`, since
// what a pod may send, the other may still not take.
func (v *view) allowed(way direction) (isolated, lines []string) {
	for _, policy := range v.policies {
		if !slices.Contains(policy.Spec.PolicyTypes, way.kind) {
			continue
		}
		near := v.selected(policy.Namespace, &policy.Spec.PodSelector)
		if len(near) == 0 {
			continue
		}
		isolated = append(isolated, addresses(near)...)
		for _, rule := range rules(policy, way) {
			for _, line := range v.lines(policy.Namespace, way, near, rule) {
				lines = append(lines, fmt.Sprintf("%s return comment %q", line, title(policy)))
			}
		}
	}
	return isolated, lines
}

// A rule of either direction.
type rule struct {
	peers []networking.NetworkPolicyPeer
	ports []networking.NetworkPolicyPort
}

func rules(policy *networking.NetworkPolicy, way direction) (all []rule) {
	if way == outward {
		for _, one := range policy.Spec.Egress {
			all = append(all, rule{one.To, one.Ports})
		}
		return all
	}
	for _, one := range policy.Spec.Ingress {
		all = append(all, rule{one.From, one.Ports})
	}
	return all
}

func (v *view) lines(namespace string, way direction, near []pod, rule rule) (all []string) {
	for _, far := range v.peers(namespace, way, rule.peers) {
		if len(rule.ports) == 0 {
			all = append(all, join(match(way.near, near), far.text))
		}
		for _, port := range rule.ports {
			all = append(all, v.atPort(way, near, far, port)...)
		}
	}
	return all
}

// One or more ends of connections: pods, or what the text matches without them being known.
type end struct {
	pods []pod
	text string
}

func (v *view) peers(namespace string, way direction, peers []networking.NetworkPolicyPeer) (all []end) {
	if len(peers) == 0 {
		return []end{{pods: v.pods}}
	}
	for _, peer := range peers {
		if block := peer.IPBlock; block != nil {
			if text := blockMatch(way.far, block); text != "" {
				all = append(all, end{text: text})
			}
			continue
		}
		pods := v.selected(namespace, peer.PodSelector)
		if peer.NamespaceSelector != nil {
			pods = v.selectedIn(peer.NamespaceSelector, peer.PodSelector)
		}
		if len(pods) > 0 {
			all = append(all, end{pods, match(way.far, pods)})
		}
	}
	return all
}

// atPort: a number is the same everywhere, a name may be another number in each pod that is connected to.
func (v *view) atPort(way direction, near []pod, far end, port networking.NetworkPolicyPort) (all []string) {
	protocol := core.ProtocolTCP
	if port.Protocol != nil {
		protocol = *port.Protocol
	}
	word := strings.ToLower(string(protocol))
	if port.Port == nil {
		return []string{join(match(way.near, near), far.text, "meta l4proto "+word)}
	}
	if name := port.Port.StrVal; name != "" {
		targets := near
		if way == outward {
			targets = far.pods
		}
		numbers := byNumber(targets, name, protocol)
		for _, number := range slices.Sorted(maps.Keys(numbers)) {
			at := fmt.Sprintf("%s dport %d", word, number)
			if way == outward {
				all = append(all, join(match(way.near, near), match(way.far, numbers[number]), at))
			} else {
				all = append(all, join(match(way.near, numbers[number]), far.text, at))
			}
		}
		return all
	}
	at := fmt.Sprintf("%s dport %d", word, port.Port.IntVal)
	if port.EndPort != nil {
		at += fmt.Sprintf("-%d", *port.EndPort)
	}
	return []string{join(match(way.near, near), far.text, at)}
}

func byNumber(pods []pod, name string, protocol core.Protocol) map[int32][]pod {
	numbers := map[int32][]pod{}
	for _, pod := range pods {
		for _, port := range pod.ports {
			if port.Name == name && port.Protocol == protocol {
				numbers[port.ContainerPort] = append(numbers[port.ContainerPort], pod)
			}
		}
	}
	return numbers
}

// selected: the namespace's pods; no selector selects all of them.
func (v *view) selected(namespace string, selector *meta.LabelSelector) (all []pod) {
	wanted := matcher(selector)
	for _, pod := range v.pods {
		if pod.namespace == namespace && wanted.Matches(pod.labels) {
			all = append(all, pod)
		}
	}
	return all
}

func (v *view) selectedIn(namespaces, selector *meta.LabelSelector) (all []pod) {
	wanted := matcher(namespaces)
	for _, name := range slices.Sorted(maps.Keys(v.namespaces)) {
		if wanted.Matches(v.namespaces[name]) {
			all = append(all, v.selected(name, selector)...)
		}
	}
	return all
}

func matcher(selector *meta.LabelSelector) labels.Selector {
	if selector == nil {
		return labels.Everything()
	}
	// The API server takes none that is wrong.
	wanted, err := meta.LabelSelectorAsSelector(selector)
	if err != nil {
		return labels.Nothing()
	}
	return wanted
}

// blockMatch is empty for addresses of version 6: pods have none.
func blockMatch(field string, block *networking.IPBlock) string {
	if !isVersion4(block.CIDR) {
		return ""
	}
	text := fmt.Sprintf("ip %s %s", field, block.CIDR)
	if except := slices.DeleteFunc(slices.Clone(block.Except), func(one string) bool { return !isVersion4(one) }); len(except) > 0 {
		text += fmt.Sprintf(" ip %s != %s", field, set(except))
	}
	return text
}

func isVersion4(cidr string) bool {
	prefix, err := netip.ParsePrefix(cidr)
	return err == nil && prefix.Addr().Is4()
}

func match(field string, pods []pod) string {
	return fmt.Sprintf("ip %s %s", field, set(addresses(pods)))
}

func addresses(pods []pod) (all []string) {
	for _, pod := range pods {
		all = append(all, pod.address)
	}
	return all
}

func set(members []string) string {
	slices.Sort(members)
	return "{ " + strings.Join(slices.Compact(members), ", ") + " }"
}

func join(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), " ")
}

// title is for those who read the rules; nft takes no comment longer than 128.
func title(policy *networking.NetworkPolicy) string {
	name := policy.Namespace + "/" + policy.Name
	return name[:min(len(name), 120)]
}
