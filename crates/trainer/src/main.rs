fn main() -> std::process::ExitCode {
    trainer::be_patient();
    service::main(trainer::run, trainer::exit_code)
}
