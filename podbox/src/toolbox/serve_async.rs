//! Servers whose protocol comes from a library that is asynchronous.

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::thread;

use tokio::net::TcpStream;

use super::Outcome;
use super::failure::Failure;
use super::signals::Ends;

/// Runs `act` for every connection, all on one thread, until SIGTERM.
pub(super) fn until_signal<F, A>(listener: TcpListener, act: A) -> Outcome
where
    F: Future<Output = io::Result<()>> + Send + 'static,
    A: Fn(TcpStream) -> F + Send + 'static,
{
    let ends = Ends::claim()?;
    listener.set_nonblocking(true).map_err(Failure::system("port"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::system("runtime"))?;
    let serve = move || {
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            loop {
                let (stream, _) = listener.accept().await?;
                // A peer that goes away in the middle is its own business.
                tokio::spawn(act(stream));
            }
        })
    };
    thread::Builder::new()
        .spawn(serve)
        .map(drop::<thread::JoinHandle<io::Result<()>>>)
        .map_err(Failure::system("thread"))?;
    ends.wait()?;
    Ok(0)
}
