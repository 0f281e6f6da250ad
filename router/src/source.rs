//! Where plans come from: a ConfigMap that is watched through the API, or a file for a router without a cluster.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use crate::router::Router;

/// The key of the plan in the ConfigMap.
pub const KEY: &str = "plan.json";

/// Follows a ConfigMap: every version of its plan is taken, whatever happens to the watch in between.
///
/// # Errors
/// There is no way to reach the API server at all.
pub async fn follow_config_map(router: Arc<Router>, namespace: &str, name: &str) -> Result<(), kube::Error> {
    let api: Api<ConfigMap> = Api::namespaced(Client::try_default().await?, namespace);
    let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut changes = watcher(api, only).default_backoff().applied_objects().boxed();
    loop {
        match changes.try_next().await {
            Ok(Some(map)) => {
                if let Some(text) = map.data.as_ref().and_then(|data| data.get(KEY)) {
                    router.take(text.as_bytes());
                }
            }
            Ok(None) => return Ok(()),
            Err(error) => tracing::warn!("the plan cannot be watched at present: {error}"),
        }
    }
}

/// Follows a file: it is read at once and whenever it changes.
///
/// # Errors
/// The file's folder cannot be watched.
pub async fn follow_file(router: Arc<Router>, path: PathBuf) -> Result<(), notify::Error> {
    // The folder, since editors and the kubelet put another file in its place.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (_watching, mut changes) = watch(folder)?;
    let mut last = Vec::new();
    loop {
        match tokio::fs::read(&path).await {
            Ok(text) if text != last => {
                router.take(&text);
                last = text;
            }
            Ok(_) => {}
            Err(error) => tracing::warn!("the plan {} cannot be read: {error}", path.display()),
        }
        if changes.recv().await.is_none() {
            return Ok(());
        }
    }
}

/// Follows the folder of credentials: which of them cannot be used is told whenever something in it changes.
///
/// # Errors
/// The folder cannot be watched.
pub async fn follow_credentials(router: Arc<Router>) -> Result<(), notify::Error> {
    let (_watching, mut changes) = watch(router.tools.upstream.credentials.folder())?;
    while changes.recv().await.is_some() {
        router.look_at_credentials();
    }
    Ok(())
}

/// Watches what is directly in a folder, for as long as the watcher is kept.
fn watch(folder: &Path) -> Result<(RecommendedWatcher, mpsc::Receiver<()>), notify::Error> {
    let (sender, changes) = mpsc::channel(1);
    let tell = move |event: notify::Result<Event>| {
        if event.map_or(true, |event| may_have_changed(event.kind)) {
            let _ = sender.try_send(()); // One wish to look is enough.
        }
    };
    let mut watching = notify::recommended_watcher(tell)?;
    watching.watch(folder, RecursiveMode::NonRecursive)?;
    Ok((watching, changes))
}

/// Tells whether a file may have changed: reading one is an event too, which would lead to the next reading.
fn may_have_changed(kind: EventKind) -> bool {
    !kind.is_access() || kind == EventKind::Access(AccessKind::Close(AccessMode::Write))
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, ModifyKind, RemoveKind, RenameMode};

    use super::*;

    #[test]
    fn reading_a_plan_is_no_change_of_it() {
        use AccessKind::{Close, Open, Read};
        let quiet = [Open(AccessMode::Any), Read, Close(AccessMode::Read), Close(AccessMode::Any)];
        for kind in quiet {
            assert!(!may_have_changed(EventKind::Access(kind)), "{kind:?}");
        }
        let changes = [
            EventKind::Access(Close(AccessMode::Write)),
            EventKind::Create(CreateKind::File),
            EventKind::Modify(ModifyKind::Name(RenameMode::To)),
            EventKind::Remove(RemoveKind::File),
            EventKind::Any,
        ];
        for kind in changes {
            assert!(may_have_changed(kind), "{kind:?}");
        }
    }
}
