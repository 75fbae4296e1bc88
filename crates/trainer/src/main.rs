fn main() -> std::process::ExitCode {
    service::main(trainer::run, trainer::exit_code)
}
