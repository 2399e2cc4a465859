//! Lists what `scripts/web` has put into `ui/dist`, so that it is served from the program itself. Where that never ran
//! there is nothing, and the pages are plain.

use std::{env, error::Error, fmt::Write, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=ui/dist");
    let dist = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("ui/dist");
    let mut names = vec![];
    for entry in fs::read_dir(&dist)? {
        let name = entry?.file_name();
        names.extend(name.to_str().filter(|name| name.ends_with(".js")).map(str::to_owned));
    }
    names.sort();
    let mut list = String::from("&[");
    for name in names {
        write!(list, "({name:?}, include_bytes!({:?})),", dist.join(&name))?;
    }
    list.push(']');
    fs::write(Path::new(&env::var("OUT_DIR")?).join("scripts.rs"), list)?;
    Ok(())
}
