fn main() -> std::process::ExitCode {
    service::main(reporter::run, bus::exit_code)
}
