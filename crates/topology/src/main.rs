fn main() -> std::process::ExitCode {
    topology::main()
}
