fn main() -> std::process::ExitCode {
    service::main(aggregator::run, bus::exit_code)
}
