//! How many logins are under way at a time.

use super::Address;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Logins under way at one sshd, at most; its MaxStartups begins to refuse at 10.
const LOGINS_PER_SERVER_MAX: usize = 8;
/// Logins under way in all: each costs both ends some milliseconds of CPU and us a descriptor.
const LOGINS_MAX: usize = 64;
/// Bounds the logins that are under way at a time. One per node that dials.
pub struct Gate {
    all: Semaphore,
    servers: Mutex<HashMap<(String, u16), Arc<Semaphore>>>,
}

impl Default for Gate {
    fn default() -> Gate {
        Gate { all: Semaphore::new(LOGINS_MAX), servers: Mutex::default() }
    }
}

impl Gate {
    fn server(&self, address: &Address) -> Arc<Semaphore> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (address.host.clone(), address.port);
        servers.entry(key).or_insert_with(|| Arc::new(Semaphore::new(LOGINS_PER_SERVER_MAX))).clone()
    }

    /// Does a login when there is room for it. The login's own time begins then.
    pub async fn pass<T>(&self, address: &Address, login: impl Future<Output = T>) -> T {
        let server = self.server(address);
        let _one = server.acquire().await;
        let _any = self.all.acquire().await;
        login.await
    }
}
