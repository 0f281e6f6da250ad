//! The data plane of Rondo: it answers requests to graphs of models by a plan that the operator writes.
//!
//! A plan (`plan`) is checked and made ready (`compile`, `graph`), served on ports (`router`, `server`), and each request
//! passes through its nodes (`call`, `nodes`) to targets (`upstream`).

pub mod admin;
pub mod call;
pub mod calling;
pub mod compile;
pub mod connection;
pub mod credentials;
pub mod dialer;
pub mod exchange;
pub mod expression;
pub mod graph;
pub mod grpc;
pub mod headers;
pub mod linger;
pub mod mapping;
pub mod message;
pub mod metrics;
pub mod model;
pub mod nodes;
pub mod path;
pub mod plan;
pub mod policy;
pub mod protocol;
pub mod reads;
pub mod room;
pub mod router;
pub mod server;
pub mod source;
pub mod state;
pub mod tally;
pub mod telemetry;
pub mod trail;
pub mod upstream;
pub mod words;
pub mod workers;
