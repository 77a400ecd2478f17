//! Sockets of a small test program.
