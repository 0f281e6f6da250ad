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

use crate::expression::Expression;
use crate::message::FailureKind;

/// What kind of failure it is that an expression has no value: that of who sent what it reads.
fn unvalued(expression: &Expression) -> FailureKind {
    if expression.is_of_request() { FailureKind::BadRequest } else { FailureKind::Mapping }
}
