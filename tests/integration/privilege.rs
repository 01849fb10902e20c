//! Least privilege: the whole job without root, each part as its own user, and what the user espm
//! cannot do with what it may.

mod job;
