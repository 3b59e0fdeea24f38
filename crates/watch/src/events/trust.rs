//! Who may vouch for brokers and web servers: those whom browsers trust, or those of a file.

use std::{path::Path, sync::Arc};

use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::CertificateDer};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::EventsError;

/// Certificates of authorities; without any, Mozilla's.
#[derive(Clone, Debug, Default)]
pub struct Trust(Vec<Certificate<'static>>);

impl Trust {
    /// Only those of a PEM file.
    ///
    /// # Errors
    /// [`EventsError::Authorities`]
    pub fn read(path: &Path) -> Result<Self, EventsError> {
        let wrong = |reason: String| EventsError::Authorities { path: path.into(), reason };
        let text = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
        let items = parse_pem(&text).collect::<Result<Vec<_>, _>>().map_err(|e| wrong(e.to_string()))?;
        let certificates: Vec<_> = items
            .into_iter()
            .filter_map(|item| match item {
                PemItem::Certificate(certificate) => Some(certificate),
                _ => None,
            })
            .collect();
        let trust = Self(certificates);
        if trust.0.is_empty() {
            return Err(wrong("it holds no certificate".into()));
        }
        trust.roots().map(|_| trust).map_err(|e| wrong(e.to_string()))
    }

    fn roots(&self) -> Result<RootCertStore, rustls::Error> {
        let mut roots = RootCertStore::empty();
        for certificate in &self.0 {
            roots.add(CertificateDer::from(certificate.der().to_vec()))?;
        }
        if self.0.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Ok(roots)
    }

    /// For a broker.
    pub fn rustls(&self) -> Result<Arc<ClientConfig>, rustls::Error> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions()?;
        Ok(Arc::new(config.with_root_certificates(self.roots()?).with_no_client_auth()))
    }

    /// For a web server.
    pub fn ureq(&self) -> TlsConfig {
        let roots = if self.0.is_empty() { RootCerts::WebPki } else { RootCerts::new_with_certs(&self.0) };
        TlsConfig::builder().root_certs(roots).build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("ca.pem");
        let refused = || Trust::read(&path).unwrap_err().to_string();
        assert!(refused().contains("No such file"));
        std::fs::write(&path, "no certificate").unwrap();
        assert!(
            refused().contains("it holds no certificate; give the authorities' certificates as PEM"),
            "{}",
            refused()
        );
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        std::fs::write(&path, broken).unwrap();
        assert!(refused().starts_with(path.to_str().unwrap()), "{}", refused());
        assert!(Trust::default().roots().unwrap().len() > 50);
    }
}
