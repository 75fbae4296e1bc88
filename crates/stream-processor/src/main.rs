fn main() -> std::process::ExitCode {
    stream_processor::main()
}
