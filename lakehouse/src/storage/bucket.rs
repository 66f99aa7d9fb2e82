//! The bucket itself: whether it is there, and making it.
//!
//! It must never delete or empty one.

use std::time::Duration;

use object_store::ObjectStoreExt;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::signer::Signer;
use reqwest::{Client, Method, StatusCode};

use super::failure::{Said, failed, refused};
use super::{CONNECT_TIMEOUT, Place, REQUEST_TIMEOUT, Store};
use crate::{Error, Kind, Result};

/// Read to see what the store answers; nothing is ever put there.
const PROBE: &str = ".streamforge-probe";
/// How long a signature counts.
const SIGNED_FOR: Duration = Duration::from_mins(5);
/// The one region whose name must not be sent.
const FIRST_REGION: &str = "us-east-1";
const DOING: &str = "the bucket was not made";

/// What was found, or done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// The warehouse is a folder on this machine, which is made when it is first written to.
    Folder,
    /// It was there.
    Found,
    /// It was made now.
    Made,
}

impl Store {
    /// Whether the store is there, knows us, and has the bucket.
    ///
    /// # Errors
    ///
    /// - [`Kind::Retry`]: the store does not answer.
    /// - [`Kind::Config`]: it refuses us, or the bucket is missing.
    pub async fn check(&self) -> Result<()> {
        match self.probe().await {
            Ok(()) => Ok(()),
            Err((said, location)) => {
                Err(refused("the warehouse is not to be had", &location, &said))
            }
        }
    }

    /// Makes the bucket where it is missing.
    ///
    /// # Errors
    ///
    /// - [`Kind::Retry`]: the store does not answer.
    /// - [`Kind::Config`]: it refuses us, or the name is taken by somebody else.
    pub async fn make_bucket(&self) -> Result<Bucket> {
        let Place::Bucket { region, client, .. } = &self.place else { return Ok(Bucket::Folder) };
        match self.probe().await {
            Ok(()) => Ok(Bucket::Found),
            Err((said, _)) if said.is("NoSuchBucket") => {
                make(client, region, &self.warehouse).await
            }
            Err((said, location)) => Err(refused(DOING, &location, &said)),
        }
    }

    /// Asks for an object that is not there: the answer tells a missing object from a missing bucket, and
    /// right keys from wrong ones. Asking for the bucket itself needs a permission that nothing else here needs.
    async fn probe(&self) -> std::result::Result<(), (Said, String)> {
        let Place::Bucket { .. } = &self.place else { return Ok(()) };
        let location = format!("{}/{PROBE}", self.warehouse);
        let Ok(path) = self.path(&location) else { return Ok(()) };
        let Err(err) = self.objects.get(&path).await else { return Ok(()) };
        let said = Said::of(&err);
        // Who may not list is denied what is not there; what may be done shows when it is done.
        if said.is_missing_object() || said.is("AccessDenied") {
            return Ok(());
        }
        Err((said, location))
    }
}

async fn make(client: &AmazonS3, region: &str, warehouse: &str) -> Result<Bucket> {
    let passing = |err: reqwest::Error| {
        Error::new(Kind::Retry, DOING).with("location", warehouse).because(err.without_url())
    };
    // The empty path is the bucket.
    let url = client.signed_url(Method::PUT, &Path::default(), SIGNED_FOR).await;
    let url = url.map_err(|err| failed(DOING, warehouse, &err))?;
    let http = Client::builder().connect_timeout(CONNECT_TIMEOUT).timeout(REQUEST_TIMEOUT);
    let http = http.build().map_err(passing)?;
    let answer = http.put(url).body(wanted(region)).send().await.map_err(passing)?;
    let status = answer.status();
    if status.is_success() {
        return Ok(Bucket::Made);
    }
    let said = Said::answer(status.as_u16(), &answer.text().await.map_err(passing)?);
    if said.is("BucketAlreadyOwnedByYou") {
        return Ok(Bucket::Found);
    }
    if status == StatusCode::CONFLICT && said.is("BucketAlreadyExists") {
        return Err(Error::new(Kind::Config, "the bucket's name is taken by somebody else")
            .with("location", warehouse)
            .advising("choose another bucket in ICEBERG_WAREHOUSE"));
    }
    Err(refused(DOING, warehouse, &said))
}

/// Where the bucket is to be made.
fn wanted(region: &str) -> String {
    let plain = region.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if region == FIRST_REGION || region.is_empty() || !plain {
        return String::new();
    }
    format!(
        "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
         <LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
    )
}
