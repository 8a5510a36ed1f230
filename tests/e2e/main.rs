//! On a real cluster, the one that `KUBECONFIG` names: `make e2e`. The control plane and the operator are processes outside
//! of it, each test has namespaces of its own, and nothing but ckrv's definitions is left behind.

mod causes;
mod cluster;
mod definitions;
mod leading;
mod pods;
