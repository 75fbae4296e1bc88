fn main() -> std::process::ExitCode {
    aggregator::main()
}
