//! Leaves out of a release what only unwinding needs.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // In a release a panic aborts, and nobody ever looks for a function's frame: that table would be 2 % of the binary.
    if std::env::var("PROFILE").as_deref() == Ok("release") {
        println!("cargo::rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
    }
}
