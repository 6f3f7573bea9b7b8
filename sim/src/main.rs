//! x
fn main() {
    let r = simvisor_sim::search::sweep(&Default::default(), |_| ()).unwrap();
    println!("{:?} {:?} {:?}", r.verdicts, r.elapsed, r.events);
    for f in r.failures.iter().take(10) {
        println!("{f:?}");
    }
}
