//! A GitHub App's token: «Generating a JSON Web Token (JWT) for a GitHub App», «Generating an installation access token».

use ao_sdk::{Secret, digest, http};
use ao_slots::PluginError;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use jiff::Timestamp;
use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject as _};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::{Place, token};

/// The vendor takes a token's time from its own clock, and none that is good for more than ten minutes.
const SKEW: i64 = 60;
const GOOD_FOR: i64 = 540;

/// An App that is installed: `ao` then asks in its name, with limits of its own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct App {
    /// Its id, or its client id.
    pub id: String,
    /// The number of its installation: the end of the address of its settings page.
    pub installation: u64,
    /// Its private key, as GitHub gave it: the text of the PEM file.
    pub key: Secret,
}

impl App {
    /// Says what is wrong with it.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.pair().map(drop)
    }

    /// Tells it from others, and tells nothing of its key.
    pub(crate) fn name(&self) -> String {
        digest(format!("{} {} {}", self.id, self.installation, self.key.reveal()), 16)
    }

    pub(crate) fn pair(&self) -> Result<RsaKeyPair, String> {
        let wrong = |why: String| format!("`app.key` is no private key of an App: {why}");
        let key = PrivateKeyDer::from_pem_slice(self.key.reveal().as_bytes())
            .map_err(|error| wrong(error.to_string()))?;
        let pair = match &key {
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            _ => return Err(wrong("it is not of RSA".to_owned())),
        };
        pair.map_err(|error| wrong(error.to_string()))
    }

    /// What the App itself asks with, RFC 7519, signed by RS256.
    fn signed(&self, now: Timestamp) -> Result<String, String> {
        let now = now.as_second();
        let claims = json!({"iat": now - SKEW, "exp": now + GOOD_FOR, "iss": self.id});
        let part = |json: serde_json::Value| BASE64.encode(json.to_string());
        let text = format!("{}.{}", part(json!({"alg": "RS256", "typ": "JWT"})), part(claims));
        let pair = self.pair()?;
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
            .map_err(|_| "`app.key` signs nothing".to_owned())?;
        Ok(format!("{text}.{}", BASE64.encode(signature)))
    }

    /// A token of the installation, and until when it is good: an hour.
    pub(crate) async fn token(
        &self,
        client: &reqwest::Client,
        place: &Place,
    ) -> Result<(Secret, Timestamp), PluginError> {
        #[derive(Deserialize)]
        struct Made {
            token: String,
            expires_at: Timestamp,
        }
        let what = "GitHub gives the App no token";
        let signed =
            self.signed(Timestamp::now()).map_err(|why| PluginError::permanent(what, why))?;
        let Place { origin, rest, .. } = place;
        let url = format!("{origin}{rest}/app/installations/{}/access_tokens", self.installation);
        let asked = client
            .post(url)
            .bearer_auth(signed)
            .header("accept", "application/vnd.github+json")
            .header("user-agent", crate::AGENT)
            .send();
        let mut response =
            asked.await.map_err(|error| http::unanswered("GitHub", &error, "correct `url`"))?;
        let status = response.status();
        if !status.is_success() {
            let cause =
                format!("{status}: {}", http::excerpt(&http::beginning(&mut response).await));
            return Err(match http::passes(status) {
                true => PluginError::transient(what, cause),
                false => PluginError::permanent(what, cause)
                    .with_remedy("correct `app:`: its id, its installation, its key"),
            });
        }
        let bytes = http::whole(&mut response, "GitHub").await?;
        let made: Made = serde_json::from_slice(&bytes)
            .map_err(|error| PluginError::transient("the App's token does not read", error))?;
        if !token::is_one(&made.token) {
            return Err(PluginError::transient("the App's token does not read", ""));
        }
        Ok((Secret::new(made.token), made.expires_at))
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    use super::*;

    #[test]
    fn a_token_is_signed_by_the_key() {
        let app = crate::tests::app();
        let now: Timestamp = "2026-11-22T01:00:00Z".parse().unwrap();
        let signed = app.signed(now).unwrap();
        let (text, signature) = signed.rsplit_once('.').unwrap();
        let pair = app.pair().unwrap();
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public().as_ref());
        public.verify(text.as_bytes(), &BASE64.decode(signature).unwrap()).unwrap();
        let parts: Vec<serde_json::Value> = text
            .split('.')
            .map(|part| serde_json::from_slice(&BASE64.decode(part).unwrap()).unwrap())
            .collect();
        assert_eq!(parts[0], json!({"alg": "RS256", "typ": "JWT"}));
        let at = now.as_second();
        assert_eq!(parts[1], json!({"iat": at - 60, "exp": at + 540, "iss": "12345"}));
        let wrong = App { key: Secret::new("-----BEGIN NOTHING-----"), ..app.clone() };
        assert!(wrong.check().is_err());
        assert!(!format!("{app:?}").contains("PRIVATE"));
    }
}
