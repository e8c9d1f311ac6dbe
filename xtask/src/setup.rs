//! Set-up.
use anyhow::Result;

/// Sets up silently what is missing.
pub(crate) fn ensure() -> Result<()> {
    Ok(())
}
