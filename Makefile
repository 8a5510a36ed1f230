# An index of what can be done here; the work is in cargo and in scripts/.
.PHONY: help build demo test e2e check bench bench-cluster contracts judges soak cluster-up cluster-down images

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

build: ## release binaries under target/release
	cargo build --release --locked -p ckrv-cli -p ckrv-server -p ckrv-worker -p ckrv-operator -p ckrv-dev

demo: ## run a real job from submit to pulled branch; REPO=… BRANCH=… take any repository
	scripts/demo

test: ## every test: unit, integration, end to end, faults
	scripts/test

e2e: ## the tests on a real cluster: one of their own, or that of KUBECONFIG
	scripts/e2e

check: ## formatting, lints, docs, dependency rules, contracts
	scripts/check

bench: ## measurements as ratios to the floor in the same run
	scripts/bench

bench-cluster: ## the same on a cluster, the one that KUBECONFIG names or one of its own
	scripts/bench-cluster

contracts: ## print contracts/ anew
	scripts/contracts

judges: ## unmodified third-party clients against the running server
	scripts/judges

soak: ## the tests that take minutes: outages at their full length
	scripts/soak

cluster-up: ## a real Kubernetes for the tests, or the one in KUBECONFIG; prints the kubeconfig's path
	@scripts/cluster-up

cluster-down: ## end it; nothing of it is left
	@scripts/cluster-down

images: ## container images into target/images; BASE=… PREFIX=… TAG=… PROFILE=…
	scripts/images
