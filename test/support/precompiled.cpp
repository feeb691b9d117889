// Nothing: the build precompiles headers for the tests beside this unit.
