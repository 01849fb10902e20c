//! HTTP behind the web server: the gateway takes FastCGI requests, a handler answers each.

pub(crate) mod auth;
pub mod cgi;
pub mod gateway;
pub mod handler;
pub mod node_body;
mod permits;
pub mod request;
pub mod response;
pub mod routes;
