//! `desumnet-train import`: PyTorch weights of another's training, as a model to fine-tune.
//!
//! The default of `--mean` is what C3D's own mean file (`sport1m_train16_128_mean.binaryproto`) comes to for each colour. C3D reads
//! pictures through OpenCV, which is why its weights take blue first.

use std::{error::Error, ops::RangeInclusive, path::PathBuf};

use desumnet_engine::network::{DEVIATIONS, MEANS, Storage, WIDTHS};
use desumnet_train::training::import::{Input, import};

/// Makes a model file from PyTorch weights in C3D's naming, to start `finetune` from
#[derive(clap::Args)]
pub struct Args {
    /// State dict as torch.save writes it (.pt, .pth, .pickle, .bin), or .safetensors
    file: PathBuf,
    /// The model file
    #[arg(long)]
    output: PathBuf,
    /// Names of fc8's outputs, one a line, with numbers as in UCF101's classInd.txt or without (default: category 1, ...)
    #[arg(long, value_name = "FILE")]
    categories: Option<PathBuf>,
    /// Mean that the weights' training took from pixels of 0 to 255 (default: of Sports-1M, on which C3D was trained)
    #[arg(long, value_name = "R,G,B", default_value = "101.41,97.66,90.25", value_parser = |text: &str| rgb(text, &MEANS))]
    mean: [f64; 3],
    /// What it then divided them by (default: C3D divided by nothing)
    #[arg(long, value_name = "R,G,B", default_value = "1,1,1", value_parser = |text: &str| rgb(text, &DEVIATIONS))]
    std: [f64; 3],
    /// The weights take blue first, as those from Caffe do, C3D's own for one; --mean and --std are R,G,B all the same
    #[arg(long)]
    bgr: bool,
}

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    if args.output.exists() {
        return Err(format!("{} is there already; remove it or give another --output", args.output.display()).into());
    }
    let categories = match &args.categories {
        None => None,
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|e| format!("{} can't be read: {e}; give a file with a name a line", path.display()))?;
            Some(names(&text).map_err(|e| format!("{}: {e}", path.display()))?)
        }
    };
    let input = Input { categories, mean: args.mean, std: args.std, bgr: args.bgr };
    let imported = import(&args.file, &WIDTHS, input)?;
    for (theirs, ours) in &imported.taken {
        say!("taken     {theirs} as {ours}");
    }
    for (theirs, reason) in &imported.left_out {
        say!("left out  {theirs}: {reason}");
    }
    imported.model.save(&args.output, Storage::F32)?;
    if !imported.random.is_empty() {
        say!(
            "warning: {} have random weights: the model can't score before `desumnet-train finetune` has trained it",
            imported.random.join(", ")
        );
    }
    say!("model written to {}", args.output.display());
    Ok(())
}

/// The names in a list, one a line, without the numbers if all lines are numbered in order, as UCF101's are.
///
/// # Errors
/// If a name is there twice.
fn names(text: &str) -> Result<Vec<String>, String> {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let numbered = lines.iter().zip(1..).map(|(line, number)| {
        let (first, name) = line.split_once(' ')?;
        (first.parse() == Ok(number)).then(|| name.trim())
    });
    let names = numbered.collect::<Option<Vec<_>>>().unwrap_or(lines);
    match names.iter().enumerate().find(|(i, name)| names[..*i].contains(name)) {
        Some((_, twice)) => Err(format!("`{twice}` is there twice; give every category a name of its own")),
        None => Ok(names.into_iter().map(String::from).collect()),
    }
}

fn rgb(text: &str, usable: &RangeInclusive<f64>) -> Result<[f64; 3], String> {
    let values: Option<Vec<f64>> = text.split(',').map(|value| value.trim().parse().ok()).collect();
    let values = values.and_then(|values| values.try_into().ok());
    let values = values.filter(|v: &[f64; 3]| v.iter().all(|v| usable.contains(v)));
    values.ok_or_else(|| format!("give three numbers of {} to {}: R,G,B", usable.start(), usable.end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_names_come_with_numbers_or_without() {
        let read = |text: &str| names(text).unwrap();
        assert_eq!(read("1 ApplyEyeMakeup\r\n2 YoYo\n\n"), ["ApplyEyeMakeup", "YoYo"]);
        assert_eq!(read("making a sandwich\n  grooming an animal\n"), ["making a sandwich", "grooming an animal"]);
        assert_eq!(read("3 on 3 basketball\n100 metres\n"), ["3 on 3 basketball", "100 metres"]);
        assert!(names("1 a\n2 a\n").unwrap_err().contains("`a` is there twice"));
    }

    #[test]
    fn colours_are_three_numbers() {
        assert_eq!(rgb("1, 2.5,0", &MEANS), Ok([1.0, 2.5, 0.0]));
        for wrong in ["1,2", "1,2,3,4", "a,b,c", "", "1,2,inf", "1,2,NaN", "1,2,-3", "1,2,256"] {
            assert_eq!(rgb(wrong, &MEANS), Err("give three numbers of 0 to 255: R,G,B".into()), "{wrong}");
        }
        for wrong in ["1,0,1", "1,1e-300,1", "1,1e300,1"] {
            assert!(rgb(wrong, &DEVIATIONS).is_err(), "{wrong}");
        }
    }
}
