//! Records in memory, for the tests of an scm that has no service of its own.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ao_slots::{PluginError, scm::Records};
use async_trait::async_trait;
use serde_json::Value;

/// What a host keeps. Clones are the same records, as for the plugins of two servers one after the other.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<BTreeMap<String, Value>>>);

impl Memory {
    /// All of it.
    pub fn all(&self) -> MutexGuard<'_, BTreeMap<String, Value>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Records for Memory {
    async fn read(&self, prefix: &str) -> Result<BTreeMap<String, Value>, PluginError> {
        let all = self.all();
        let below = all.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        Ok(below.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    async fn write(&self, values: BTreeMap<String, Option<Value>>) -> Result<(), PluginError> {
        let mut all = self.all();
        for (key, value) in values {
            match value {
                Some(value) => drop(all.insert(key, value)),
                None => drop(all.remove(&key)),
            }
        }
        Ok(())
    }
}
