//! The manifest as the user wrote it.
