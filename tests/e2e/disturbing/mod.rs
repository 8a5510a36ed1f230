//! What goes wrong with the cluster itself. These end parts of it that everything there needs: only on the test cluster of this
//! machine, one at a time, and after all others (scripts/e2e).

mod control_plane;
mod node;
