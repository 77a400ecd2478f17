//! The verdict engine: pure, no I/O, no clock.
