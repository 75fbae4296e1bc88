use std::process::ExitCode;

fn main() -> ExitCode {
    if trainer::is_fit_subprocess() {
        return trainer::run_fit_subprocess();
    }
    service::main(trainer::run, trainer::exit_code, include_str!("../../../deploy/settings.txt"))
}
