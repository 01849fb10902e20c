//! Runs a program over and over in a tight loop, some at a time, and prints how long the runs took.
//!
//! `spawn AT_ONCE SECONDS [--among COUNT] [--env NAME=VALUE]... -- PROGRAM ARGUMENT...`
//!
//! The program is started by `posix_spawn` and its output read to the end: what a peer would do at
//! least. `{}` in arguments and variables is another number below COUNT each time. One line of JSON
//! comes out; a run that fails is an error, for its time would be worth nothing.
#![allow(clippy::disallowed_methods, reason = "it starts programs")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is run by hand or by a script")]

use std::error::Error;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

struct Plan {
    at_once: u64,
    time: Duration,
    among: u64,
    environment: Vec<(String, String)>,
    command: Vec<String>,
}

fn main() -> ExitCode {
    match plan(std::env::args().skip(1)).and_then(|plan| measure(&plan)) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("spawn: {error}");
            ExitCode::FAILURE
        }
    }
}

fn plan(mut words: impl Iterator<Item = String>) -> Result<Plan, Box<dyn Error + Send + Sync>> {
    let mut next = |what: &str| words.next().ok_or_else(|| format!("{what} is missing"));
    let at_once = next("AT_ONCE")?.parse()?;
    let time = Duration::from_secs_f64(next("SECONDS")?.parse()?);
    let (mut among, mut environment) = (1, Vec::new());
    loop {
        match next("--")?.as_str() {
            "--" => break,
            "--among" => among = next("COUNT")?.parse::<u64>()?.max(1),
            "--env" => {
                let pair = next("NAME=VALUE")?;
                let (name, value) = pair.split_once('=').ok_or("want NAME=VALUE")?;
                environment.push((name.to_owned(), value.to_owned()));
            }
            other => return Err(format!("{other} is not known").into()),
        }
    }
    Ok(Plan { at_once, time, among, environment, command: words.collect() })
}

/// Milliseconds of each run, and of all of them together.
fn measure(plan: &Plan) -> Result<String, Box<dyn Error + Send + Sync>> {
    let start = Instant::now();
    let mut times = Vec::new();
    thread::scope(|scope| -> Result<(), Box<dyn Error + Send + Sync>> {
        let threads: Vec<_> = (0..plan.at_once).map(|seed| scope.spawn(move || repeat(plan, seed, start))).collect();
        for thread in threads {
            times.extend(thread.join().map_err(|_| "a thread ended early")??);
        }
        Ok(())
    })?;
    let seconds = start.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    let percentile = |percent: usize| times.get((times.len() * percent / 100).min(times.len() - 1)).copied();
    let [Some(p50), Some(p99)] = [50, 99].map(percentile) else { return Err("nothing was run".into()) };
    let runs = times.len();
    Ok(format!("{{\"runs\": {runs}, \"seconds\": {seconds}, \"p50_ms\": {p50}, \"p99_ms\": {p99}}}"))
}

fn repeat(plan: &Plan, seed: u64, start: Instant) -> Result<Vec<f64>, Box<dyn Error + Send + Sync>> {
    // A linear congruential generator: far apart numbers, others in each measurement.
    let moment = UNIX_EPOCH.elapsed().map_or(0, |time| time.subsec_nanos());
    let mut number = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(moment);
    let mut times = Vec::new();
    while times.is_empty() || start.elapsed() < plan.time {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        times.push(run(plan, (number >> 33) % plan.among)?);
    }
    Ok(times)
}

fn run(plan: &Plan, number: u64) -> Result<f64, Box<dyn Error + Send + Sync>> {
    let filled = |text: &String| text.replace("{}", &number.to_string());
    let mut words = plan.command.iter().map(filled);
    let mut command = Command::new(words.next().ok_or("PROGRAM is missing")?);
    command.args(words).envs(plan.environment.iter().map(|(name, value)| (name, filled(value))));
    let start = Instant::now();
    let output = command.stdin(Stdio::inherit()).stderr(Stdio::inherit()).output()?;
    let time = start.elapsed().as_secs_f64() * 1000.0;
    if !output.status.success() || output.stdout.is_empty() {
        return Err(format!("{command:?}: {}, {} bytes", output.status, output.stdout.len()).into());
    }
    Ok(time)
}
