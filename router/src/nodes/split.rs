//! A split: each node answers its share, the same client always the same way if it is sticky.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::unvalued;
use crate::call::{Call, Names, Outcome, ask as ask_node};
use crate::graph::{Node, NodeId, Split};
use crate::message::{Failure, Question, Usage};

/// Asks one of the nodes.
///
/// # Errors
/// The expression that makes it sticky has no value.
pub async fn ask(call: &Arc<Call>, node: &Node, split: &Split, question: Question, usage: Usage) -> Outcome {
    let point = match &split.sticky {
        None => rand::random_range(0..split.total),
        Some(sticky) => {
            let value = sticky.evaluate(&Names::of(call));
            match value {
                Ok(value) => point_of(&value.to_string(), split.total),
                Err(_) if split.lenient => rand::random_range(0..split.total),
                Err(error) => {
                    let words = format!("split.sticky: {error}");
                    return Err(Failure::new(unvalued(sticky), &node.name, words));
                }
            }
        }
    };
    ask_node(call, share_of(split, point), question, usage).await
}

/// A place on the line of all shares for a text: the same in every replica, whenever it starts.
fn point_of(text: &str, total: u32) -> u32 {
    // The remainder is below `total`, which is a u32.
    u32::try_from(xxh3_64(text.as_bytes()) % u64::from(total)).unwrap_or(0)
}

/// The node whose share a point lies in. A change of weights moves no more requests than it must at its border.
fn share_of(split: &Split, point: u32) -> NodeId {
    let mut end = 0;
    for (node, weight) in &split.to {
        end += weight;
        if point < end {
            return *node;
        }
    }
    split.to[split.to.len() - 1].0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(weights: &[u32]) -> Split {
        let to: Vec<_> = weights.iter().enumerate().map(|(index, &weight)| (NodeId(index), weight)).collect();
        Split { to, total: weights.iter().sum(), sticky: None, lenient: false }
    }

    #[test]
    fn every_point_belongs_to_a_share_of_its_weight() {
        let split = split(&[90, 0, 10]);
        let mut counts = [0; 3];
        for point in 0..split.total {
            counts[share_of(&split, point).0] += 1;
        }
        assert_eq!(counts, [90, 0, 10]);
    }

    #[test]
    fn texts_spread_evenly_and_stay_where_they_are() {
        let hits = (0..10_000).filter(|user| point_of(&format!("\"user-{user}\""), 100) < 90).count();
        assert!((8_850..9_150).contains(&hits), "{hits}");
        assert_eq!(point_of("\"alice\"", 100), point_of("\"alice\"", 100));
    }
}
