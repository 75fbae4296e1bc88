use std::process::ExitCode;

fn main() -> ExitCode {
    trainer::be_patient();
    if trainer::is_told_to_fit() {
        return trainer::fit_as_told();
    }
    service::main(trainer::run, trainer::exit_code, include_str!("../../../deploy/settings.txt"))
}
