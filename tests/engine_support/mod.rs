//! What the tests of the engine share. Each test binary uses a part of it.

#![allow(dead_code, reason = "every test binary compiles all of it and uses a part")]

pub(crate) mod asked;
pub(crate) mod lab;
pub(crate) mod naive;
pub(crate) mod packet;
pub(crate) mod script;
pub(crate) mod words;
