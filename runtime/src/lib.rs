//! podbox low-level runtime.
