//! podbox network.
