fn main() -> std::process::ExitCode {
    producer::main()
}
