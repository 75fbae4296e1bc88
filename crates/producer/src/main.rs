fn main() -> std::process::ExitCode {
    service::main(producer::run, bus::exit_code)
}
