//! The toolbox applets.
