fn main() -> std::process::ExitCode {
    trainer::main()
}
