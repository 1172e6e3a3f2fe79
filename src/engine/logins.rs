//! Administrators' logins: a wrong password is not tried once for each of their accounts, which would
//! lock the administrator out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Mutex as AsyncMutex;

use crate::endpoint::{Auth, Endpoint};
use crate::fault::{About, Fault, Remedy, Scope, Side};

/// Accounts for which an administrator may be refused before any was accepted. More than one, since
/// most servers refuse in the same words where only the mailbox does not exist.
const REFUSALS_MAX: u8 = 3;

/// What is known of each administrator's login in this run, by host and name.
#[derive(Default)]
pub(super) struct Logins {
    by_name: Mutex<BTreeMap<(String, String), SharedLogin>>,
}

type SharedLogin = Arc<AsyncMutex<Login>>;

enum Login {
    /// Refused so often, and never accepted.
    Unproven(u8),
    Accepted,
}

impl Default for Login {
    fn default() -> Self {
        Self::Unproven(0)
    }
}

impl Logins {
    /// Connects. Until an administrator was accepted once, their logins go one after the other, and
    /// end after a few refusals. Other logins are each account's own.
    pub(super) async fn connect<C>(
        &self,
        endpoint: &Endpoint,
        side: Side,
        connect: impl Future<Output = Result<C, Fault>>,
    ) -> Result<C, Fault> {
        let Auth::Admin(admin) = &endpoint.auth else {
            return connect.await;
        };
        let login = self.of(endpoint, admin);
        let mut known = login.lock().await;
        let refusals = match *known {
            Login::Accepted => {
                drop(known);
                return connect.await;
            }
            Login::Unproven(refusals) => refusals,
        };
        if refusals >= REFUSALS_MAX {
            let action = format!("log in to {} as {admin}", endpoint.address());
            let cause =
                format!("it was refused for {refusals} accounts of this run, and not tried again");
            let fault = Fault::new(Scope::Account, Remedy::Nothing, action, cause);
            return Err(fault.at(side).about(About::Credentials));
        }
        let connected = connect.await;
        match &connected {
            Ok(_) => *known = Login::Accepted,
            Err(fault) if fault.about == About::Credentials && fault.scope == Scope::Account => {
                *known = Login::Unproven(refusals + 1);
            }
            // Nothing was learnt of the password.
            Err(_) => {}
        }
        connected
    }

    fn of(&self, endpoint: &Endpoint, admin: &str) -> SharedLogin {
        let name = (endpoint.host.to_lowercase(), admin.to_owned());
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        by_name.entry(name).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::{SecretSource, Tls};

    fn endpoint(admin: &str) -> Endpoint {
        Endpoint {
            host: "imap.example".to_owned(),
            port: 993,
            tls: Tls::Implicit,
            pin: None,
            user: "anna".to_owned(),
            auth: Auth::Admin(admin.to_owned()),
            secret: SecretSource::Env("NONE".to_owned()),
        }
    }

    async fn try_login(logins: &Logins, admin: &str, tries: &Mutex<u32>, accept: bool) -> bool {
        let connect = async {
            *tries.lock().expect("no panic") += 1;
            let refused = Fault::new(Scope::Account, Remedy::Nothing, "log in", "NO");
            if accept { Ok(()) } else { Err(refused.about(About::Credentials)) }
        };
        logins.connect(&endpoint(admin), Side::Source, connect).await.is_ok()
    }

    #[tokio::test]
    async fn a_refused_administrator_is_not_tried_for_every_account() {
        let (logins, tries) = (Logins::default(), Mutex::new(0));
        for _ in 0..100 {
            assert!(!try_login(&logins, "root", &tries, false).await);
        }
        assert_eq!(*tries.lock().expect("no panic"), u32::from(REFUSALS_MAX));
        assert!(try_login(&logins, "other", &tries, true).await, "each on their own");
    }

    #[tokio::test]
    async fn a_missing_mailbox_does_not_stop_an_administrator_who_was_accepted() {
        let (logins, tries) = (Logins::default(), Mutex::new(0));
        assert!(!try_login(&logins, "root", &tries, false).await);
        assert!(try_login(&logins, "root", &tries, true).await);
        for _ in 0..10 {
            assert!(!try_login(&logins, "root", &tries, false).await);
        }
        assert!(try_login(&logins, "root", &tries, true).await);
    }
}
