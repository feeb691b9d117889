int training();  // consumer.cpp's main, in a shared library

int main() { return training(); }
