fn main() -> std::process::ExitCode {
    reporter::main()
}
