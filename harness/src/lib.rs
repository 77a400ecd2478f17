//! Clusters, clients and experiments. This package cannot see packets.
