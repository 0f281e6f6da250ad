//! What each kind of node does.

pub mod batch;
pub mod cache;
pub mod combine;
pub mod fallback;
pub mod mirror;
pub mod nested;
pub mod parallel;
pub mod rpc;
pub mod sequence;
pub mod split;
pub mod switch;
pub mod target;
