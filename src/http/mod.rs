//! HTTP behind the web server: a gate that takes requests, a handler for each.

pub(crate) mod auth;
pub(crate) mod certificate_body;
pub mod cgi;
pub mod gateway;
pub mod handler;
pub mod node_body;
mod permits;
pub mod request;
pub mod response;
pub mod routes;
