//! Where a fake listens: a thread with a runtime of its own, so that what it does not answer ends with it, whatever
//! the test does to time.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use axum::Router;
use tokio::sync::oneshot;

/// A service on loopback, on a port that the system gave. Gone when it is dropped.
#[derive(Debug)]
pub struct Host {
    address: SocketAddr,
    router: Router,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    /// Ends the thread; never sent, dropping it is enough.
    _stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Host {
    /// Serves from now on.
    pub fn start(router: Router) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let running = Mutex::new(Some(Running::start(listener, router.clone())?));
        Ok(Self { address, router, running })
    }

    /// Where it listens, also while it is away.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts every connection and takes none any more.
    pub fn away(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { _stop, thread }) = running {
            drop(_stop);
            // Its panic is its own: a test sees what was not answered.
            let _ = thread.join();
        }
    }

    /// Takes connections again, at the same address.
    pub fn back(&self) -> io::Result<()> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_none() {
            // The port of connections that were cut can be used again at once: std asks for that.
            let listener = TcpListener::bind(self.address)?;
            *running = Some(Running::start(listener, self.router.clone())?);
        }
        Ok(())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.away();
    }
}

impl Running {
    fn start(listener: TcpListener, router: Router) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = async move {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
            tokio::select! {
                _ = axum::serve(listener, router) => {}
                _ = stopped => {}
            }
        };
        // The runtime ends with the thread, and with it each connection.
        let thread = thread::Builder::new().spawn(move || runtime.block_on(serve))?;
        Ok(Self { _stop: stop, thread })
    }
}
