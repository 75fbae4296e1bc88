fn main() -> std::process::ExitCode {
    service::main(stream_processor::run, bus::exit_code)
}
