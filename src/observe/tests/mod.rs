//! Tests of the observer.
