// The part of the driver API's types and numbers that the double speaks, written down anew.
#pragma once
#include <cstddef>
#include <cstdint>

#define MUSTER_API extern "C" __attribute__((visibility("default")))

using Status = int;
using DevicePtr = unsigned long long;

constexpr Status kSuccess = 0;
constexpr Status kInvalidValue = 1;
constexpr Status kOutOfMemory = 2;
constexpr Status kNotInitialized = 3;
constexpr Status kNoDevice = 100;
constexpr Status kInvalidDevice = 101;
constexpr Status kInvalidImage = 200;
constexpr Status kInvalidContext = 201;
constexpr Status kIllegalState = 401;
constexpr Status kInvalidHandle = 400;
constexpr Status kNotFound = 500;
constexpr Status kNotReady = 600;
constexpr Status kIllegalAddress = 700;
constexpr Status kLaunchFailed = 719;
constexpr Status kCooperativeTooLarge = 720;
constexpr Status kNotSupported = 801;
constexpr Status kCaptureUnsupported = 900;
constexpr Status kCaptureInvalidated = 901;
constexpr Status kCaptureUnmatched = 903;
constexpr Status kCaptureUnjoined = 904;
constexpr Status kCaptureIsolation = 905;
